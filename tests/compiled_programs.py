"""What XLA says of a program that it has compiled."""

from tensorflow.compiler.xla.service import hlo_pb2


def compiled_program(function, *arguments):
    """The program of a function with `jit_compile`, an `HloProto`.

    It is compiled and not run.

    Args:
        function: A `tf.function` with `jit_compile=True`.
        *arguments: Its arguments, or specs of them.
    """
    lowered = function.experimental_get_compiler_ir(*arguments)(
        stage="optimized_hlo_proto_serialized"
    )
    return hlo_pb2.HloProto.FromString(lowered)


def temporaries(program):
    """Bytes that a program takes beside what it is given and returns."""
    return sum(
        buffer.size
        for buffer in program.buffer_assignment.buffer_allocations
        if not buffer.is_entry_computation_parameter
        and not buffer.maybe_live_out
        and not buffer.is_constant
        and not buffer.is_thread_local
    )
