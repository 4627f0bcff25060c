"""backbone: the teacher's encoder, a hub model or a folder, some or all of its layers -> data/backbone."""

from pipeline import encoders, paths
from pipeline.errors import run
from pipeline.params import load


def main() -> None:
    params = load(paths.PARAMS).backbone
    source = paths.TEACHER if params.model == "teacher" else params.model
    encoder = encoders.load_qa_model(source, params.revision, trained_output=False).base_model
    encoders.keep_layers(encoder, params.layers).save_pretrained(paths.fresh(paths.BACKBONE))


if __name__ == "__main__":
    run(main)
