"""Generated examples are the same in every run, and none is failed for being slow; what tests of several files need."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch computes on one core: small models are no faster on more, and other tests run beside."""
    import torch  # here: not every machine that runs tests has it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
