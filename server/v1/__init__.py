"""`lqhq.v1.Restoration`: encoded images in and out, in one message or in chunks of any number."""
