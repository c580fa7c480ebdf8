"""Models that Spark MLlib fits, and scorers that give its predictions without Spark."""
