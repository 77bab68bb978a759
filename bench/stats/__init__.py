"""Means, intervals, paired tests, and the choice by held-out labels."""
