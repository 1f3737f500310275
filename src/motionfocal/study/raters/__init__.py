"""Raters that are no people: the oracle, a metric, a vision-language model. They judge every pair in both orders."""
