"""lakescore: batch machine learning on a data lake."""
