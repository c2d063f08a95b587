"""What every package needs: errors, options, whole files, downloads, caches, memory."""
