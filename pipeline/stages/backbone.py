"""backbone: save the student's encoder before training.

Reads data/teacher, a model folder in data/raw, or a hub model, depending on `backbone` in params.yaml.
Keeps the layers in backbone.layers. With all layers, the model's head is saved beside them, for `shrink` and `train`.
Writes data/backbone.
"""

from pipeline import cli, paths
from pipeline.checksums import seal, verified
from pipeline.models import encoders
from pipeline.params import load


def main() -> None:
    params = load(paths.PARAMS)
    backbone = params.backbone
    source = backbone.model
    if source in params.teacher.models:
        source = verified(paths.TEACHER / source, f"teacher@{source}")
    encoder, head = encoders.load_with_head(source, backbone.revision)
    encoders.keep_layers(encoder, backbone.layers).save_pretrained(paths.empty_folder(paths.BACKBONE))
    if head and backbone.layers is None:
        encoders.save_head(head, paths.BACKBONE)
    seal(paths.BACKBONE)


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("backbone", __doc__))
