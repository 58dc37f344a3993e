"""``make promote``: takes the model that serves in one deployment into another one, through the gate and the verification of that one."""
