"""An exported student, run by onnxruntime."""

import threading
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from pipeline.errors import InputError
from pipeline.pretrained import check_file, one_line

FLOAT32, INT8 = Path("onnx/model.onnx"), Path("onnx/model_quantized.onnx")  # in the folder of an export
REQUIRED, OPTIONAL = {"input_ids", "attention_mask"}, {"token_type_ids"}
OUTPUTS = ["start_logits", "end_logits"]
ERRORS_ONLY = 3
SLOWER = ["SkipLayerNormFusion"]  # than the operators that it replaces, in onnxruntime 1.32


class OnnxStudent(nn.Module):
    """A student in an ONNX file, with the interface of `Student`: `inference.predict` runs it. On the CPU.

    onnxruntime uses as many threads as torch has in the thread that calls it.

    Attributes:
        config: of the encoder.
    """

    def __init__(self, path: Path, config: PretrainedConfig):
        """Read a file that `exporting` made.

        Raises:
            InputError: the file is missing, damaged, or not a question-answering model, or its weights are elsewhere.
        """
        super().__init__()
        check_file(path)
        self.config = config
        self.path = path
        self.nothing = nn.Parameter(torch.empty(0), requires_grad=False)  # says on which device the student is
        self._sessions: dict[int, onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()
        session = self.session()
        inputs, outputs = ({value.name for value in values} for values in (session.get_inputs(), session.get_outputs()))
        if not REQUIRED <= inputs <= REQUIRED | OPTIONAL or not set(OUTPUTS) <= outputs:
            raise InputError(
                f"{path} is not a question-answering model: its inputs are {', '.join(sorted(inputs))}, its outputs "
                f"{', '.join(sorted(outputs))}"
            )

    def session(self) -> onnxruntime.InferenceSession:
        """The session for the calling thread."""
        threads = torch.get_num_threads()
        with self._lock:
            if threads not in self._sessions:
                self._sessions[threads] = _session(self.path, threads)
            return self._sessions[threads]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> QuestionAnsweringModelOutput:
        """Start and end logits, each (B, L), of a batch; the inputs are (B, L) int64."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        feed = {name: tensor.numpy() for name, tensor in inputs.items() if tensor is not None}
        start_logits, end_logits = map(torch.from_numpy, self.session().run(OUTPUTS, feed))
        return QuestionAnsweringModelOutput(start_logits=start_logits, end_logits=end_logits)


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(  # of bytes: with a path, it would read weights from other files
            path.read_bytes(), options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOWER
        )
    except Exception as error:  # onnxruntime raises many types of exceptions
        raise InputError(f"{path} is damaged: {one_line(error)}") from None
