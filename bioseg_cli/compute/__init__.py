"""Where the work is done: device and precision, processes of torchrun, jobs in processes of their own or on Dask."""
