"""What every room uses: files, processes, pictures, masks, drawing."""
