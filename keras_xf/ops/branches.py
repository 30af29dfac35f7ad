"""A feed-forward network for each head of attention (Ahmed et al., 2017).

Branches come first, `(num_branches, rows, dim)`, where a row is a position of
some sequence: one product of matrices for each branch, all at once.
"""

import math

from keras import ops


def branch_rows(heads):
    """Lays heads out for the functions of this file.

    Args:
        heads: Tensor `(batch, num_branches, length, dim)`.

    Returns:
        Tensor `(num_branches, batch * length, dim)`.
    """
    number, dim = heads.shape[1], heads.shape[3]
    return ops.reshape(ops.transpose(heads, (1, 0, 2, 3)), (number, -1, dim))


def slices(kernel, number: int, axis: int):
    """Cuts a matrix into those of the branches.

    Args:
        kernel: Tensor `(rows, columns)`.
        number: Number of branches.
        axis: 0 where branches have rows of it, 1 where they have columns.

    Returns:
        Tensor `(number, rows, columns)` with fewer rows or columns.
    """
    rows, columns = kernel.shape
    if axis == 0:
        return ops.reshape(kernel, (number, rows // number, columns))
    parts = ops.reshape(kernel, (rows, number, columns // number))
    return ops.transpose(parts, (1, 0, 2))


def weighted(kernels, weights):
    """Multiplies each branch's kernel by its weight.

    Args:
        kernels: Tensor `(num_branches, rows, columns)`.
        weights: Tensor `(num_branches,)`, or None for ones.
    """
    return kernels if weights is None else weights[:, None, None] * kernels


def fold(output_kernel, widen_kernel, widen_bias, output_bias=None, kappa=None):
    """Makes one projection of a head's own and the first of its network.

    Nothing is between the two, equations 3 and 4, so that their product gives
    the same: it is made once for all rows.

    Args:
        output_kernel: `(num_branches, value_dim, dim)`, times `kappa`.
        widen_kernel: `(num_branches or 1, dim, hidden_dim)`.
        widen_bias: `(num_branches or 1, hidden_dim)`.
        output_bias: Bias of the first projection, `(dim,)`, or None. Each
            branch sees it, weighted as its head is.
        kappa: Weights `(num_branches,)`, or None for ones.

    Returns:
        A kernel `(num_branches, value_dim, hidden_dim)`, and a bias
        `(num_branches or 1, hidden_dim)`.
    """
    return (
        ops.matmul(output_kernel, widen_kernel),
        hidden_bias(widen_kernel, widen_bias, output_bias, kappa),
    )


def hidden_bias(widen_kernel, widen_bias, output_bias=None, kappa=None):
    """The bias of what the activation is taken of; arguments as in `fold`."""
    if output_bias is None:
        return widen_bias
    seen = ops.matmul(output_bias[None, None], widen_kernel)[:, 0]
    if kappa is not None:
        seen = kappa[:, None] * seen
    return widen_bias + seen


def join(units, alpha, narrow_kernel, narrow_bias):
    """The weighted sum of what the branches' networks make, equation 5.

    Args:
        units: Activations `(num_branches, rows, hidden_dim)`.
        alpha: Weights `(num_branches,)`, or None for ones.
        narrow_kernel: `(num_branches, hidden_dim, dim)`; `(1, hidden_dim, dim)`
            where branches share one network.
        narrow_bias: `(dim,)`, the sum of all branches' own.

    Returns:
        Tensor `(rows, dim)`.
    """
    number, hidden_dim = units.shape[0], units.shape[2]
    if narrow_kernel.shape[0] == 1 < number:
        joined = ops.sum(weighted(units, alpha), axis=0)
        return ops.matmul(joined, narrow_kernel[0]) + narrow_bias
    # One product sums within branches and over them. To weight its kernel
    # touches fewer numbers than to weight all rows.
    kernel = weighted(narrow_kernel, alpha)
    width = number * hidden_dim
    joined = ops.reshape(ops.transpose(units, (1, 0, 2)), (-1, width))
    return ops.matmul(joined, ops.reshape(kernel, (width, -1))) + narrow_bias


def folding_rows(value_dim: int, dim: int, hidden_dim: int) -> float:
    """From how many rows on folding saves more than it takes.

    Args:
        value_dim: Width of a head.
        dim: Width of the model.
        hidden_dim: Width of a branch's network.

    Returns:
        A number of rows.
    """
    # Multiplications of one branch: of the kernels, and of a row saved.
    saved = value_dim * dim + dim * hidden_dim - value_dim * hidden_dim
    return value_dim * dim * hidden_dim / saved if saved > 0 else math.inf
