"""The names that params.yaml chooses from: heads and metrics. Without torch, so that --help and checks are fast."""

# in the order of HEADS in models/heads.py
HEADS = ("linear", "lstm768", "lstm64", "lstm64x2", "cnn3", "cnn357", "cnn357_stacked", "mlp", "mlp_dropout")
# and what each is for; in the order of METRICS in scores/metrics.py
METRICS = {
    "squad": "English",
    "cmrc2018": "Chinese",
    "mlqa-ar": "Arabic",
    "mlqa-de": "German",
    "mlqa-en": "English",
    "mlqa-es": "Spanish",
    "mlqa-hi": "Hindi",
    "mlqa-vi": "Vietnamese",
    "mlqa-zh": "Chinese",
}
