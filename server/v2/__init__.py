"""The V2 inference protocol without a socket: messages into images and options, results into messages."""
