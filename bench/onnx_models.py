"""Prepares what all sides load, once, from a published BERT:

    python onnx_models.py MODEL_DIR FOLDER

FOLDER/model           the model with a classifier of two classes, as transformers saves it: for libbert and PyTorch
FOLDER/model.onnx      its graph, float32, after onnxruntime.transformers' optimizer for BERT
FOLDER/int8-fused.onnx, FOLDER/int8-unfused.onnx
                       the graph after quantize_dynamic (int8 weights per output channel), optimized before it or after
"""

import os
import shutil
import sys
import tempfile

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def export(model, path):
    """The graph for any batch size and length, of token ids and attention mask."""
    example = torch.ones(2, 8, dtype=torch.long)
    sizes = {0: "batch", 1: "length"}
    torch.onnx.export(
        model,
        (example, example),
        path,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_axes={"input_ids": sizes, "attention_mask": sizes, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


def optimize(path, config, target):
    optimized = optimizer.optimize_model(
        path,
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        optimization_options=FusionOptions("bert"),
    )
    print(os.path.basename(target), optimized.get_fused_operator_statistics())
    optimized.save_model_to_file(target)


def quantize(path, target):
    quantize_dynamic(
        path,
        target,
        weight_type=QuantType.QInt8,
        per_channel=True,
        # The optimizer's operators have no shape inference: types that aren't known are float32.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


def main(source, folder):
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(0)
    directory = os.path.join(folder, "model")
    # The optimizer knows the attention of the plain formula.
    model = AutoModelForSequenceClassification.from_pretrained(
        source, num_labels=2, attn_implementation="eager", dtype=torch.float32
    ).eval()
    # The classes' names that ours.c asks for: libbert keeps a classifier whose classes are the ones it is loaded for.
    model.config.id2label, model.config.label2id = {0: "0", 1: "1"}, {"0": 0, "1": 1}
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(source).save_pretrained(directory)
    shutil.copy(os.path.join(directory, "tokenizer.json"), folder)
    with tempfile.TemporaryDirectory() as temporary:
        plain, inferred, int8 = (os.path.join(temporary, name) for name in ("plain.onnx", "inferred.onnx", "int8.onnx"))
        export(model, plain)
        optimize(plain, model.config, os.path.join(folder, "model.onnx"))
        quantize(os.path.join(folder, "model.onnx"), os.path.join(folder, "int8-fused.onnx"))
        quant_pre_process(plain, inferred, skip_symbolic_shape=True)
        quantize(inferred, int8)
        optimize(int8, model.config, os.path.join(folder, "int8-unfused.onnx"))


main(*sys.argv[1:])
