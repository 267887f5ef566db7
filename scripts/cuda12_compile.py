"""cuda12_compile.py NVRTC INCLUDE KERNELS: compiles the file KERNELS with the library NVRTC (libnvrtc.so.12) and the headers in
INCLUDE, to the forms that build.rs asks nvcc for, and says how many kernels each has."""

import ctypes
import os
import re
import sys

library, include, kernels = sys.argv[1:]
nvrtc = ctypes.CDLL(library)
nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p


def check(status):
    if status != 0:
        sys.exit(f"cuda12_compile.py: {nvrtc.nvrtcGetErrorString(status).decode()}")


def text_of(size, get, program):
    """What the library gives by a pair of functions: its size, and then itself."""
    count = ctypes.c_size_t()
    check(size(program, ctypes.byref(count)))
    buffer = ctypes.create_string_buffer(count.value)
    check(get(program, buffer))
    return buffer.raw


def compiled(architecture):
    options = [
        f"--gpu-architecture={architecture}",
        "--std=c++17",
        f"-I{include}",
        f"-I{os.path.dirname(kernels)}",
        # Of the host's <math.h>, which nvcc has and NVRTC hasn't.
        "-DINFINITY=__int_as_float(0x7f800000)",
    ]
    with open(kernels, "rb") as file:
        source = file.read()
    program = ctypes.c_void_p()
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, os.path.basename(kernels).encode(), 0, None, None))
    arguments = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    status = nvrtc.nvrtcCompileProgram(program, len(options), arguments)
    log = text_of(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).rstrip(b"\0").decode()
    if log.strip():
        print(log, file=sys.stderr)
    check(status)
    if architecture.startswith("sm_"):
        result = text_of(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        # A section of code each, in the table of the sections' names.
        found = set(re.findall(rb"\0\.text\.(\w+)", result))
    else:
        result = text_of(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program)
        found = set(re.findall(rb"\.entry (\w+)", result))
    check(nvrtc.nvrtcDestroyProgram(ctypes.byref(program)))
    return len(result), found


major, minor = ctypes.c_int(), ctypes.c_int()
check(nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
print(f"NVRTC {major.value}.{minor.value}", flush=True)
all_names = set()
for architecture in ["sm_80", "sm_90", "compute_80"]:
    size, names = compiled(architecture)
    print(f"{architecture}: {len(names)} kernels, {size} bytes")
    if not names or (all_names and names != all_names):
        sys.exit(f"cuda12_compile.py: {sorted(names ^ all_names)} aren't in all forms")
    all_names = names
