"""What each channel or touchpoint contributes to the purchases."""
