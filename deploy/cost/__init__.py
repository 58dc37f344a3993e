"""What a deployment costs on AWS: prices times what ``model.yaml``, the deployment's file and the last runs say."""
