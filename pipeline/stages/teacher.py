"""teacher: a hub model, a folder or new weights -> data/teacher, fine-tuned on the labels if teacher.train says so."""

from pipeline import encoders, feature_store, inference, paths, tokenization
from pipeline.errors import run
from pipeline.losses import span_cross_entropy
from pipeline.params import Teacher, load
from pipeline.training import train


def main() -> None:
    params = load(paths.PARAMS).teacher
    tokenizer = tokenization.load(paths.TOKENIZER)
    model = untrained(params, len(tokenizer)).to(inference.device())
    if params.train.epochs:
        features = feature_store.read(paths.FEATURES / "train.safetensors")
        train(
            model,
            features,
            tokenizer.pad_token_id,
            params.train,
            params.seed,
            loss=lambda logits, batch: {"loss": span_cross_entropy(logits, batch.labels, batch.answer_mask)},
        )
    model.save_pretrained(paths.fresh(paths.TEACHER))


def untrained(params: Teacher, vocab_size: int) -> encoders.PreTrainedModel:
    """The teacher before fine-tuning."""
    if params.model == "new":
        return encoders.new_qa_model(params.config, vocab_size, params.seed)
    return encoders.load_qa_model(
        params.model, params.revision, trained_output=params.train.epochs == 0, seed=params.seed
    )


if __name__ == "__main__":
    run(main)
