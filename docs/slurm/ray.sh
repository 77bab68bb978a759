#!/bin/bash
# One SLURM job of several nodes, made one Ray cluster: every run goes where there is room. Submit it again to go on.
#   sbatch docs/slurm/ray.sh
#SBATCH --job-name=lnl-bench
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --output=lnl-bench-%j.log
# With cards: add `#SBATCH --gpus-per-node=4`, and after `--` for instance `--gpus-per-run 0.25`.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
exec srun ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" --include-dashboard=false -- \
    python -m bench run --methods ce,gce,elr --noise asym --executor ray --ray-address auto --out runs
