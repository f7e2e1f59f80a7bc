"""Tabular tasks: estimators of scikit-learn teach networks and linear models."""
