"""`python -m pipeline.show`: the teacher's and the student's scores side by side."""

import json

from pipeline import paths
from pipeline.errors import InputError, run


def main() -> None:
    print(f"{'':8}{'exact match':>12}{'F1':>8}{'span accuracy':>15}{'questions':>11}")
    for name, path in (("teacher", paths.TEACHER_METRICS), ("student", paths.EVAL_METRICS)):
        if not path.exists():
            raise InputError(f"{path} is missing; `dvc repro` makes it")
        row = json.loads(path.read_text(encoding="utf-8"))
        print(f"{name:8}{row['exact_match']:12.2f}{row['f1']:8.2f}{row['span_accuracy']:15.2f}{row['questions']:11d}")


if __name__ == "__main__":
    run(main)
