"""What each command of the command line does. Imported one by one, so that none pays for another's imports."""
