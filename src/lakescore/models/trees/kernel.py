"""The native code that `kernel.ll` is for this processor: made in memory, once a process."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

log = logging.getLogger(__name__)

#: Rows that the code takes at once.
LANES = 64

_POINTER, _INT64, _INT8, _DOUBLE = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int8, ctypes.c_double
_ARGUMENTS = {
    "encode": (
        _POINTER, _INT64, _INT64, _POINTER, _INT8, _DOUBLE, _INT8, _POINTER, _INT64,
    ),
    "add_leaves": (
        _POINTER, _INT64, _INT64, _POINTER, _POINTER, _POINTER, _INT64, _INT64, _POINTER, _POINTER,
        _POINTER, _POINTER, _INT64, _POINTER, _POINTER, _INT64,
    ),
    "exponentials": (_POINTER, _INT64),
}  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """The functions of `kernel.ll`, which describes them; they take addresses."""

    encode: Callable[..., None]
    add_leaves: Callable[..., None]
    exponentials: Callable[..., None]
    engine: Any  # owns the code


@lru_cache(maxsize=1)
def kernel() -> Kernel | None:
    """Compiled by LLVM in about 0.1 s; None, with a warning, where this host cannot: without
    llvmlite, without LLVM's library, for a processor or a C library that it does not know.
    """
    try:
        import llvmlite.binding as llvm

        engine = _compiled(llvm)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        log.warning("trees are scored by slower code, no native code can be made here: %s", error)
        return None
    functions = {
        name: ctypes.CFUNCTYPE(None, *types)(engine.get_function_address(name))
        for name, types in _ARGUMENTS.items()
    }
    return Kernel(**functions, engine=engine)


def _compiled(llvm: Any) -> Any:
    llvm.initialize()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple = llvm.get_process_triple()
    text = files(__package__).joinpath("kernel.ll").read_text(encoding="utf-8")
    module = llvm.parse_assembly(text.replace("@TRIPLE@", triple))
    module.verify()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        jit=True,
    )
    builder, passes = llvm.create_pass_manager_builder(), llvm.create_module_pass_manager()
    builder.opt_level = 2
    machine.add_analysis_passes(passes)
    builder.populate(passes)
    passes.run(module)
    llvm.add_symbol("exp", ctypes.cast(ctypes.CDLL(None).exp, _POINTER).value)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine
