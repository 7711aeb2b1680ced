"""A worker to try ngpu with, no GPU needed: ``python -m ngpu.demo``.

It speaks the Stable Diffusion web UI's ``POST /sdapi/v1/img2img`` and changes pictures with Pillow. It stands for
other people's programs, so it imports nothing of ngpu and ngpu imports nothing of it.
"""
