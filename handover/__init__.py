"""What leaves the house: releases as folders that others can load, check and train on."""
