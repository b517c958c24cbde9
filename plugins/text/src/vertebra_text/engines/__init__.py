"""Tasks in the worker processes of engines such as Ray, Spark and Daft."""
