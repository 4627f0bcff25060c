"""sources: hash the files in data/raw that params.yaml names.

The stages that read such files depend on these hashes, so that other files in data/raw re-run nothing.
Writes data/sources.
"""

import json
from pathlib import Path

from pipeline import cli, paths
from pipeline.checksums import sha256
from pipeline.params import load


def main() -> None:
    params = load(paths.PARAMS)
    models = {name: teacher.answers or teacher.model for name, teacher in params.teacher.models.items()}
    models[paths.STUDENT_NAME] = params.backbone.model
    paths.empty_folder(paths.SOURCES)
    dataset = params.dataset
    write(paths.QUESTION_SOURCES, dataset.train_file, dataset.unlabelled_file, dataset.validation_file)
    for name, model in models.items():
        write(paths.model_sources(name), model)


def write(file: Path, *sources: str | None) -> None:
    """Write the SHA-256 of each file of the sources that are in data/raw; hub ids and keywords have none."""
    folders = [Path(source) for source in sources if source and Path(source).is_relative_to(paths.RAW)]
    files = sorted({path for folder in folders for path in (folder, *folder.rglob("*")) if path.is_file()})
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({path.as_posix(): sha256(path) for path in files}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("sources", __doc__))
