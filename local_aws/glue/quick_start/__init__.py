"""What a Spark job finds ready when it starts: a driver that waits, and the recorded classes of Java."""
