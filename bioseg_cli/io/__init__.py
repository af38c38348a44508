"""Files: images, volumes and their metadata, read and written; and what stands between the disk and their users."""
