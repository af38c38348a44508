"""What every picture is drawn with: colours, the range of grey that is shown, outlines and letters."""
