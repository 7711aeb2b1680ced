"""Image archives on their way into an engine: from a file or a URL, in pieces, at the pace of whoever takes them."""
