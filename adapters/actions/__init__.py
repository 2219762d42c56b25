"""What a step does beside moving traffic: warming, telling, asking."""
