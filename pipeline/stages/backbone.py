"""backbone: a teacher's encoder, a hub model or a folder, some or all of its layers -> data/backbone."""

from pipeline import paths
from pipeline.errors import run
from pipeline.models import encoders
from pipeline.params import load


def main() -> None:
    params = load(paths.PARAMS)
    backbone = params.backbone
    source = paths.TEACHER / backbone.model if backbone.model in params.teacher.models else backbone.model
    encoder = encoders.load_qa_model(source, backbone.revision, trained_output=False).base_model
    encoders.keep_layers(encoder, backbone.layers).save_pretrained(paths.fresh(paths.BACKBONE))


if __name__ == "__main__":
    run(main)
