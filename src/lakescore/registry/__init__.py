"""The model registry: the only room that knows MLflow. It imports MLflow at use."""
