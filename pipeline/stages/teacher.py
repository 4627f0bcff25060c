"""teacher: a hub model, a folder or new weights -> data/teacher, fine-tuned on the labels if teacher.train says so."""

from pipeline import encoders, feature_store, inference, paths, tokenization
from pipeline.checkpoints import Checkpoint, run_key
from pipeline.errors import run
from pipeline.losses import span_cross_entropy
from pipeline.params import Teacher, load
from pipeline.processes import processes
from pipeline.records import read_records
from pipeline.training import train


def main() -> None:
    params = load(paths.PARAMS).teacher
    tokenizer = tokenization.load(paths.TOKENIZER)
    model = untrained(params, len(tokenizer)).to(inference.device())
    checkpoint = fine_tune(model, params, tokenizer.pad_token_id) if params.train.epochs else None
    if processes().is_main_process:
        model.save_pretrained(paths.fresh(paths.TEACHER))
        if checkpoint:
            checkpoint.remove()


def fine_tune(model: encoders.PreTrainedModel, params: Teacher, pad_token_id: int) -> Checkpoint:
    """Train a model on the labels, in place; returns the checkpoint that is left of it."""
    features = feature_store.read(paths.FEATURES / "train.safetensors")
    records = read_records(paths.DATASET / "train.parquet")
    settings = {**params.model_dump(include={"seed", "train"}), "processes": processes().num_processes}
    key = run_key(settings, model.state_dict(), features.keys, features.labels)
    checkpoint = Checkpoint(paths.cache() / "training", key)
    train(
        model,
        features,
        pad_token_id,
        params.train,
        params.seed,
        loss=lambda logits, batch: {"loss": span_cross_entropy(logits, batch.labels, batch.answer_mask)},
        checkpoint=checkpoint,
        names=[records[i]["id"] for i in features.record],
    )
    return checkpoint


def untrained(params: Teacher, vocab_size: int) -> encoders.PreTrainedModel:
    """The teacher before fine-tuning."""
    if params.model == "new":
        return encoders.new_qa_model(params.config, vocab_size, params.seed)
    return encoders.load_qa_model(
        params.model, params.revision, trained_output=params.train.epochs == 0, seed=params.seed
    )


if __name__ == "__main__":
    run(main)
