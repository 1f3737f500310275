"""Machine raters: the oracle, a metric, a vision-language model. They judge every pair in both orders."""
