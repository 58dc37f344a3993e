"""What a job finds as ``pip``: it installs nothing, says what is there already, and refuses the rest by its name."""
