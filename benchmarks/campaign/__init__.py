"""What `gpu_campaign.py` is made of: entries, their measurements, packs and results."""
