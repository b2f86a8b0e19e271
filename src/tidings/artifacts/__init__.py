"""Where the bytes of artifacts are kept: in a directory, or in a bucket that speaks S3."""
