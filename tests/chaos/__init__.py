"""What a workplace does to this project, at random: kills, full disks, damaged files, long runs.

``make chaos`` runs all of it in 20 minutes, ``make chaos-full`` for hours."""
