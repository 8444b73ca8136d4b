"""Stage transitions: Markov chains, their tests and mixtures, time in a stage, forecasts."""
