"""Tables, plots and sheets from the records that ``mmrbgan evaluate`` leaves."""
