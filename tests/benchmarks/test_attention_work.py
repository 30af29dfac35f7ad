"""Tests of benchmarks.attention_work, against counts one by one."""

import collections

import pytest

from benchmarks import attention_work

SIZES = {
    "batch_size": 2,
    "length": 16,
    "hidden_dim": 6,
    "num_heads": 2,
    "chunk_length": 4,
    "num_hashes": 3,
}


def count_product(rows, inner, columns):
    """Multiplications and additions of a product of matrices."""
    return sum(
        2 for _ in range(rows) for _ in range(inner) for _ in range(columns)
    )


def count_dense(sizes):
    rows, dim = sizes["batch_size"] * sizes["length"], sizes["hidden_dim"]
    head_dim = dim // sizes["num_heads"]
    # Queries, keys, values and outputs.
    count = sum(count_product(rows, dim, dim) for _ in range(4))
    for _ in range(sizes["batch_size"] * sizes["num_heads"]):
        for query in range(sizes["length"]):
            for key in range(sizes["length"]):
                if key <= query:
                    # The logit, and the value's part in the average.
                    count += 2 * head_dim + 2 * head_dim
    return count


def count_lsh(sizes):
    """Operations of products, and of hashing."""
    rows, dim = sizes["batch_size"] * sizes["length"], sizes["hidden_dim"]
    head_dim, chunk = dim // sizes["num_heads"], sizes["chunk_length"]
    products = sum(count_product(rows, dim, dim) for _ in range(3))
    hashing = 0
    num_chunks = sizes["length"] // chunk
    for _ in range(sizes["num_hashes"] * sizes["batch_size"]):
        for _ in range(sizes["num_heads"]):
            # A direction and its opposite are one product.
            num_directions = 2 * num_chunks // 2
            hashing += count_product(sizes["length"], head_dim, num_directions)
            for _ in range(num_chunks):
                # A chunk's queries see its own keys and the chunk before.
                products += count_product(chunk, head_dim, 2 * chunk)
                products += count_product(chunk, 2 * chunk, head_dim)
    return products, hashing


def test_operations_of_dense_attention():
    assert attention_work.dense_flops(SIZES) == count_dense(SIZES)
    training = attention_work.dense_flops(SIZES, training=True)
    assert training == 3 * count_dense(SIZES)


@pytest.mark.parametrize("num_hashes", [1, 3])
def test_operations_of_lsh_attention(num_hashes):
    sizes = {**SIZES, "num_hashes": num_hashes}
    products, hashing = count_lsh(sizes)
    assert attention_work.lsh_flops(sizes) == products + hashing
    training = attention_work.lsh_flops(sizes, training=True)
    assert training == 3 * products + hashing


def test_many_buckets_are_two_factors():
    """Hashing grows with the root of the length, not with the length."""

    def hashing(length):
        sizes = {**SIZES, "length": length, "num_hashes": 1}
        both = attention_work.lsh_flops(sizes)
        # What is left when each product is taken away.
        rows = sizes["batch_size"] * length
        return both - 2 * rows * 3 * 6**2 - 4 * rows * 2 * 4 * 6

    rows = SIZES["batch_size"] * 4096
    # 2048 buckets are 64 times 32: 48 directions.
    assert hashing(4096) == 2 * rows * 6 * 48


class Memory:
    """Counts how often an array passes memory."""

    def __init__(self):
        self.passes = collections.Counter()

    def read(self, *names):
        self.passes.update(names)

    def write(self, *names):
        self.passes.update(names)

    def total(self):
        return sum(self.passes.values())


def walk_dense(memory, training):
    memory.read("inputs")
    memory.write("query", "key", "value")
    memory.read("query", "key", "value")
    memory.write("mixed")
    memory.read("mixed")
    memory.write("outputs")
    if training:
        # Of the last projection: of what it takes, and of its kernel.
        memory.read("d_outputs", "mixed")
        memory.write("d_mixed")
        memory.read("d_mixed", "query", "key", "value")
        memory.write("d_query", "d_key", "d_value")
        memory.read("d_query", "d_key", "d_value", "inputs")
        memory.write("d_inputs")


def walk_lsh(memory, num_hashes, training):
    memory.read("inputs")
    memory.write("query", "value")
    for number in range(num_hashes):
        memory.read("query", "value")
        if number:
            memory.read("mixed")
        memory.write("mixed")
    memory.read("mixed")
    memory.write("outputs")
    if training:
        memory.read("d_outputs", "mixed")
        memory.write("d_mixed")
        for number in range(num_hashes):
            memory.read("query", "value", "d_mixed")
            if number:
                memory.read("d_query", "d_value")
            memory.write("d_query", "d_value")
        memory.read("d_query", "d_value", "inputs")
        memory.write("d_inputs")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("num_hashes", [0, 1, 2, 5])
def test_bytes_are_those_of_each_pass(monkeypatch, num_hashes, training):
    monkeypatch.setattr(attention_work, "CACHE_BYTES", 0)
    sizes = {**SIZES, "num_hashes": num_hashes}
    memory = Memory()
    if num_hashes:
        walk_lsh(memory, num_hashes, training)
        counted = attention_work.lsh_bytes(sizes, training)
    else:
        walk_dense(memory, training)
        counted = attention_work.dense_bytes(sizes, training)
    assert counted == memory.total() * 4 * 2 * 16 * 6


def test_what_fits_the_caches_passes_no_memory():
    assert attention_work.lsh_bytes(SIZES) == 0
    assert attention_work.dense_bytes(SIZES, training=True) == 0
    assert attention_work.lsh_bytes({**SIZES, "length": 2**20}) > 0
