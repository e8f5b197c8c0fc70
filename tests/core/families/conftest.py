import pytest
import torch


@pytest.fixture(autouse=True)
def seed():
    """Weights and inputs that a test does not draw by key are the same in every run."""
    torch.manual_seed(0)
