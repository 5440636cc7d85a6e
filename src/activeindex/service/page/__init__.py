"""The page: a login form, and the tasks of a picture desk in the browser."""
