"""The contract suite's own assertions say what they compared."""

import pytest

pytest.register_assert_rewrite("adapters.testing")
