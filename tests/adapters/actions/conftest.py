"""The contract's own assertions explain themselves."""

import pytest

pytest.register_assert_rewrite("adapters.testing")
