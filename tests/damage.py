"""Damage that a file system does not show."""

import os


def flip_bit(path, position=0.5):
    """Flip one bit; size, modification time and inode stay."""
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1
    status = path.stat()
    with open(path, "r+b") as file:
        file.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
