"""The local web application, in which a score is composed, heard and edited in the browser."""
